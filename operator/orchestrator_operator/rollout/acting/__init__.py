"""What was planned is done: writes to the API server, and letters to people."""
