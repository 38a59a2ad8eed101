-- The property that makes the stream's own publication do so.
-- at the source
CREATE SCHEMA via_root_property;
CREATE TABLE via_root_property.p (id int PRIMARY KEY) PARTITION BY RANGE (id);
