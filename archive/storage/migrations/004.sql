-- 3 -> 4: the kind of change that was asked for, and the version of the prompt's templates. They were not recorded before.
ALTER TABLE nodes ADD COLUMN aim VARCHAR;
ALTER TABLE llm_calls ADD COLUMN aim VARCHAR;
ALTER TABLE llm_calls ADD COLUMN template_sha VARCHAR;
