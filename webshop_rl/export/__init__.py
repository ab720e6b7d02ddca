"""A trained run as a Hugging Face folder: `webshop-rl export RUN|CHECKPOINT --out FOLDER`."""
