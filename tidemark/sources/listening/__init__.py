"""Sources that listen: addresses, TLS, HTTP requests and syslog frames."""
