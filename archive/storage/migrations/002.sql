-- 1 -> 2: which failures show cheating, and the memory of the accelerator.
-- Nobody wrote down in a file of schema 1 what was cheating: its invalid nodes stay out themselves, as they did.
ALTER TABLE meta ADD COLUMN views VARCHAR;
ALTER TABLE evaluations ADD COLUMN violation BOOLEAN DEFAULT false;
ALTER TABLE evaluations ADD COLUMN peak_device_mb DOUBLE;
ALTER TABLE evaluations ADD COLUMN memory_by VARCHAR;
