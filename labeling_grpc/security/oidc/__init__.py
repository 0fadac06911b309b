"""Sign-in by the operator's identity provider (OpenID Connect): its keys, its ID tokens, groups and roles."""
