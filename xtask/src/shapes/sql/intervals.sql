-- Intervals without end.
-- at the source
CREATE SCHEMA intervals;
CREATE TABLE intervals.t (id int PRIMARY KEY, i interval, l interval[]);
INSERT INTO intervals.t VALUES (1, 'infinity', '{infinity,-infinity,NULL}'), (2, '-infinity', '{}');
-- at the source
INSERT INTO intervals.t SELECT id + 10, -i, l FROM intervals.t;
UPDATE intervals.t SET i = -i WHERE id = 1;
