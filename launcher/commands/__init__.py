"""The words on a command line -> one call -> an exit status. Heavy imports stay inside the commands."""
