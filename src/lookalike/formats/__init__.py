"""Files that labels come from and go to."""
