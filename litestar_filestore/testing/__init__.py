"""What tests of applications and of drivers can use."""
