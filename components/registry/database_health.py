"""Does a PostgreSQL database answer: asked once, with a short wait."""

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError

from components.errors import ServiceError
from components.tracking.addresses import without_password

WAIT_SECONDS = 5


def ask_database(address: str) -> str:
    """Return what answers ("PostgreSQL 15.10").

    Args:
        address: of Prefect (`postgresql+asyncpg://`) or of MLflow (`postgresql://`).
    Raises:
        ServiceError: nothing answers, or it refuses; no password is repeated.
    """
    try:
        engine = sa.create_engine(sa.make_url(address).set(drivername="postgresql"), connect_args={"connect_timeout": WAIT_SECONDS}, poolclass=sa.NullPool)
        with engine.connect() as connection:
            return f"PostgreSQL {connection.execute(sa.text('show server_version')).scalar_one()}"
    except (DBAPIError, ArgumentError) as error:
        said = str(getattr(error, "orig", error)).strip().splitlines()
        raise ServiceError(f"{without_password(address)}: {said[0] if said else type(error).__name__}; check the address, the password's place and that the database runs") from None
