"""Profile files to layers to a plan. pydantic lives here alone."""
