"""What outlives the process: what is remembered, how it is written, and the file."""
