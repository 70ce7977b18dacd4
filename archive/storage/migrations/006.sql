-- 5 -> 6: codes in place of sentences that code decided on, and the order of decisions and events. Older rows get them
-- from those sentences: `archive/storage/codes.py`.
ALTER TABLE nodes ADD COLUMN ablated VARCHAR;
ALTER TABLE llm_calls ADD COLUMN cut_off BOOLEAN DEFAULT false;
ALTER TABLE decisions ADD COLUMN code VARCHAR;
ALTER TABLE decisions ADD COLUMN arrival BIGINT DEFAULT 0;
ALTER TABLE events ADD COLUMN code VARCHAR;
ALTER TABLE events ADD COLUMN detail JSON;
ALTER TABLE events ADD COLUMN arrival BIGINT DEFAULT 0;
