//! Shapes of tables: partitions, inheritance, truncates, names.
