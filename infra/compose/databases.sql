-- Prefect's database is made by the image itself (POSTGRES_DB); MLflow has its own.
CREATE DATABASE mlflow;
