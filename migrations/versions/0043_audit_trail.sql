-- Those who look after the programme read the trail by who did something, and by when it was written down.
CREATE INDEX audit_trail_actor ON kit.audit_trail (actor, entry_id);
CREATE INDEX audit_trail_wrote_at ON kit.audit_trail (wrote_at);
