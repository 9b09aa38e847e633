"""Values to a terminal or to JSON. rich lives here alone; nothing here looks or decides."""
