"""What people read: tables, figures and pages, made of conclusions."""
