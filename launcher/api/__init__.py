"""What another program asks as the command line does: text in, data and its JSON out."""
