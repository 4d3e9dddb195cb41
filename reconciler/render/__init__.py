"""Values to text, Markdown and JSON. Nothing here decides; nothing here writes."""
