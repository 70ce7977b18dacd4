-- 5 -> 6: codes for what was decided on sentences, and the order of decisions and events. `archive/storage/codes.py` fills
-- them in rows of before from those sentences, which no later version has to keep.
ALTER TABLE nodes ADD COLUMN ablated VARCHAR;
ALTER TABLE llm_calls ADD COLUMN cut_off BOOLEAN DEFAULT false;
ALTER TABLE decisions ADD COLUMN code VARCHAR;
ALTER TABLE decisions ADD COLUMN arrival BIGINT DEFAULT 0;
ALTER TABLE events ADD COLUMN code VARCHAR;
ALTER TABLE events ADD COLUMN detail JSON;
ALTER TABLE events ADD COLUMN arrival BIGINT DEFAULT 0;
