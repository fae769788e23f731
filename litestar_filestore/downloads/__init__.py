"""Downloads: answers with ranges and conditions, and the ways to deliver their bytes."""
