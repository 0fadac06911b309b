"""Pages that need nothing beside them, light or dark as the reader prefers, and how pictures in them are drawn."""
