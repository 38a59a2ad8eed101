-- Types that extensions bring.
-- at the source
CREATE SCHEMA extensions;
CREATE EXTENSION hstore SCHEMA extensions;
CREATE EXTENSION citext SCHEMA extensions;
CREATE EXTENSION ltree SCHEMA extensions;
CREATE EXTENSION cube SCHEMA extensions;
CREATE EXTENSION seg SCHEMA extensions;
CREATE EXTENSION isn SCHEMA extensions;
SET search_path = extensions;
CREATE TABLE t (id int PRIMARY KEY, h hstore, hs hstore[], c citext, cs citext[], l ltree, ls ltree[], q lquery, lt ltxtquery, cu cube, cus cube[], s seg, i isbn13);
CREATE DOMAIN folded AS citext CHECK (VALUE <> '');
CREATE TABLE keyed (k citext, p ltree, d folded, v int, PRIMARY KEY (k, p));
CREATE TABLE no_key (c citext, h hstore, s seg);
INSERT INTO t SELECT n, 'a=>1, "b c"=>NULL, ""=>"\"q\""', '{a=>1,NULL}', 'MiXed', '{A,a,NULL}', 'Top.Science.Astronomy', '{a.b,NULL}', '*.Sci*{1,2}', 'a & b*', '(0,1e300),(-1,2)', '{"(1,2,3)"}', '1.50 .. 2.5e10', '978-0-393-04002-9' FROM generate_series(1, 20) n;
INSERT INTO t (id, h, c, l, cu, s) VALUES (0, '', '', '', '()', '~5 ..');
INSERT INTO keyed VALUES ('Key', 'a.b', 'X', 1), ('OTHER', 'a', 'y', 2);
INSERT INTO no_key VALUES ('A', 'a=>1', '1'), ('a', 'a=>1', '1.0'), ('a', 'a=>1', '1.0');
-- at the source
SET search_path = extensions;
INSERT INTO t SELECT id + 100, h, hs, c, cs, l, ls, q, lt, cu, cus, s, i FROM t;
UPDATE t SET h = h || 'z=>9', c = 'mIxED', l = 'x.y' WHERE id < 5;
DELETE FROM t WHERE id = 105;
UPDATE keyed SET k = 'KEY' WHERE k = 'key';
UPDATE keyed SET v = 3 WHERE k = 'other';
UPDATE keyed SET p = 'c.d', d = 'Z' WHERE k = 'other';
INSERT INTO keyed VALUES ('new', '', 'n', 1);
DELETE FROM no_key WHERE c::text = 'A';
UPDATE no_key SET h = NULL WHERE ctid = (SELECT min(ctid) FROM no_key);
