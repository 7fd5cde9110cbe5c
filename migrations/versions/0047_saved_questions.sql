-- What somebody asks of a report again and again. Only the question is kept; it is answered anew, with the rights of
-- whoever asks it then. One that is kept no more stays, with its end.
CREATE TABLE settlement.saved_question (
  question_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  owner_id    int NOT NULL REFERENCES kit.actor,
  name        text NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
  is_shared   boolean NOT NULL,
  asks        jsonb NOT NULL CHECK (jsonb_typeof(asks) = 'object' AND octet_length(asks::text) < 20000),
  at          timestamptz NOT NULL
);
CREATE INDEX saved_question_owner ON settlement.saved_question (owner_id);
CREATE TABLE settlement.saved_question_end (
  question_id bigint PRIMARY KEY REFERENCES settlement.saved_question,
  at          timestamptz NOT NULL
);
GRANT SELECT, INSERT ON settlement.saved_question, settlement.saved_question_end TO tessera_app;
