-- Roles belong to the whole cluster, so several databases of one server share them.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tessera_app') THEN
    CREATE ROLE tessera_app LOGIN;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tessera_ledger') THEN
    CREATE ROLE tessera_ledger NOLOGIN;
  END IF;
EXCEPTION WHEN unique_violation OR duplicate_object THEN
  NULL;  -- another database of the same server made them in the same moment
END $$;

CREATE SCHEMA kit;
GRANT USAGE ON SCHEMA kit TO tessera_app, tessera_ledger;

CREATE TABLE kit.routine_file (
  package     text PRIMARY KEY,
  source_hash text NOT NULL
);

CREATE FUNCTION kit.drop_routines(p_schema text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE r text;
BEGIN
  -- Names first: one may be gone with another that used it before its turn comes.
  FOREACH r IN ARRAY ARRAY(SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace = p_schema::regnamespace) LOOP
    EXECUTE format('DROP ROUTINE IF EXISTS %s CASCADE', r);
  END LOOP;
END $$;

-- The business clock of a sandbox; production has no row and takes the wall's.
CREATE TABLE kit.business_clock (
  id     smallint PRIMARY KEY CHECK (id = 1),
  now_at timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON kit.business_clock TO tessera_app;

-- Whoever acts. Roles are granted and taken back by rows, never edited: the last row for a role says whether it is held.
CREATE TABLE kit.actor (
  actor_id   int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name       text NOT NULL UNIQUE CHECK (name <> ''),
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE kit.actor_role (
  entry_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  actor_id int NOT NULL REFERENCES kit.actor,
  role     text NOT NULL CHECK (role ~ '^[A-Z_]+$'),
  granted  boolean NOT NULL,
  wrote_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX actor_role_latest ON kit.actor_role (actor_id, role, entry_id);

-- What needs two people: a maker proposes, a checker who is somebody else decides, once.
CREATE TABLE kit.approval (
  approval_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind        text NOT NULL CHECK (kind ~ '^[A-Z_]+$'),
  subject     text NOT NULL,
  detail      jsonb NOT NULL DEFAULT '{}',
  maker_id    int NOT NULL REFERENCES kit.actor,
  made_at     timestamptz NOT NULL,
  checker_id  int REFERENCES kit.actor,
  decided_at  timestamptz,
  approved    boolean,
  CHECK (checker_id <> maker_id),
  CHECK ((checker_id IS NULL) = (decided_at IS NULL) AND (decided_at IS NULL) = (approved IS NULL))
);

-- Whoever may write the decision may not change it afterwards.
CREATE FUNCTION kit.refuse_second_decision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'approval % is decided', OLD.approval_id USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER approval_is_decided_once BEFORE UPDATE ON kit.approval
  FOR EACH ROW WHEN (OLD.decided_at IS NOT NULL) EXECUTE FUNCTION kit.refuse_second_decision();

CREATE TABLE kit.audit_trail (
  entry_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  actor      text NOT NULL,
  action     text NOT NULL,
  subject    text NOT NULL,
  detail     jsonb NOT NULL DEFAULT '{}',
  at         timestamptz NOT NULL,
  wrote_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX audit_trail_subject ON kit.audit_trail (subject, entry_id);

GRANT SELECT, INSERT ON kit.actor, kit.actor_role, kit.approval, kit.audit_trail TO tessera_app;
GRANT UPDATE (checker_id, decided_at, approved) ON kit.approval TO tessera_app;
