"""What outlives a process: one database shared by every worker."""
