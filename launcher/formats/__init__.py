"""A plan to text, and launch texts back to options: one file a form."""
