"""Downloads: answers with ranges and conditions, and the ways in which their bytes are delivered."""
