"""What an argument may be: kinds, checks in one wording, shape letters, errors."""
