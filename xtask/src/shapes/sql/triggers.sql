-- Triggers of the target fire as a replica's do: those for a replica or always, no others; and foreign keys act at the source only.
-- at the source
CREATE SCHEMA triggers;
CREATE TABLE triggers.t (id int PRIMARY KEY, v text);
CREATE TABLE triggers.noted (id int, op text);
CREATE FUNCTION triggers.note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO triggers.noted VALUES (coalesce(NEW.id, OLD.id), TG_OP); RETURN NULL; END';
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON triggers.t FOR EACH ROW EXECUTE FUNCTION triggers.note();
CREATE TABLE triggers.parent (id int PRIMARY KEY);
CREATE TABLE triggers.child (id int PRIMARY KEY, parent int REFERENCES triggers.parent ON DELETE CASCADE ON UPDATE CASCADE);
INSERT INTO triggers.t SELECT i, 'v' FROM generate_series(1, 20) i;
INSERT INTO triggers.parent SELECT i FROM generate_series(1, 20) i;
INSERT INTO triggers.child SELECT i, i FROM generate_series(1, 20) i;
-- at the target
CREATE TABLE public.shapes_fired (name text);
CREATE FUNCTION public.shapes_fire() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.shapes_fired VALUES (TG_NAME); RETURN NULL; END';
CREATE TRIGGER usual AFTER INSERT ON triggers.t FOR EACH ROW EXECUTE FUNCTION public.shapes_fire();
CREATE TRIGGER always AFTER INSERT ON triggers.t FOR EACH ROW EXECUTE FUNCTION public.shapes_fire();
CREATE TRIGGER replica AFTER INSERT ON triggers.t FOR EACH ROW EXECUTE FUNCTION public.shapes_fire();
ALTER TABLE triggers.t ENABLE ALWAYS TRIGGER always, ENABLE REPLICA TRIGGER replica;
-- at the source
INSERT INTO triggers.t VALUES (21, 'w'), (22, 'w');
UPDATE triggers.t SET v = 'u' WHERE id < 5;
DELETE FROM triggers.t WHERE id = 6;
UPDATE triggers.parent SET id = id + 100 WHERE id < 5;
DELETE FROM triggers.parent WHERE id > 15;
-- at the target
DROP TRIGGER usual ON triggers.t; DROP TRIGGER always ON triggers.t; DROP TRIGGER replica ON triggers.t;
-- the target holds
SELECT array_agg(name ORDER BY name) = '{always,always,replica,replica}' FROM public.shapes_fired
