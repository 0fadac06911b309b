"""Who may call the labeling service, and what for: tokens, roles, and what every call passes."""
