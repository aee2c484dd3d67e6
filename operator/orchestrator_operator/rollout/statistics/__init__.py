"""Evidence that stays valid however often it is read: the coin test, and the normal mixture. Pure."""
