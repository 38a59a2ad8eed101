-- Row security would hide rows from the stream's role.
-- at the source
CREATE SCHEMA hidden_rows;
CREATE TABLE hidden_rows.t (id int PRIMARY KEY, owner text);
INSERT INTO hidden_rows.t SELECT i, 'you' FROM generate_series(1, 20) i;
ALTER TABLE hidden_rows.t ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON hidden_rows.t USING (owner = current_user);
DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'shapes_reader') THEN CREATE ROLE shapes_reader; END IF; END $$;
ALTER ROLE shapes_reader LOGIN REPLICATION PASSWORD 'shapes';
GRANT USAGE ON SCHEMA hidden_rows TO shapes_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA hidden_rows, public TO shapes_reader;
DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO shapes_reader', current_database()); END $$;
