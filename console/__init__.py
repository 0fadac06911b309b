"""The console: pages for those who label cases, review them and run the loop.

It holds no state of its own. It calls the labeling service with the signed-in person's own token, so that the service's
table of roles and its hidden columns rule, and reads Kafka's topics.
"""
