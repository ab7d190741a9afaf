"""Are the picks right? Tables in, tables and figures out."""
