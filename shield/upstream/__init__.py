"""The servers behind Shield: choosing, dialling, speaking to them, and knowing how they are."""
