"""What pages show: values as people read them, and a case laid out."""
