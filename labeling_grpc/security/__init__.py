"""Who may call the labeling service, and what for: tokens, roles, and the gate that every call passes."""
