"""Reports to the Government reporting system: what they are counted from, and their way out."""
