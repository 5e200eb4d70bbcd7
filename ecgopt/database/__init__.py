"""The shared database: its engine, tables, health and backups."""
