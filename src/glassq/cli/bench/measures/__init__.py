"""What is measured, a file per subject. Each measure takes the stage and gives readings."""
