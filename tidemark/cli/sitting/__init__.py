"""`tidemark label`: one annotator at one terminal."""
