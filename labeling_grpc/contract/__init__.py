"""What service and clients share beside the generated messages: refusals, bounds of texts and of sizes."""
