"""How fast a server is, judged: loads, what makes a figure worth nothing, figures beside others."""
