CREATE SCHEMA settlement;
