"""The processes of one Shield: what builds, starts, supervises and stops everything."""
