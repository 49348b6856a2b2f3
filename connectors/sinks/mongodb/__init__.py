"""Store `mongodb`: a MongoDB server, or a replica set."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, SecretStr

from connectors.sinks.kind import StoreKind

_ADDRESS = re.compile(r"mongodb(?:\+srv)?://(?:[^@/]*@)?([^@/?]+)(?:/.*)?", re.DOTALL)


def _url(url: SecretStr) -> SecretStr:
    if not _ADDRESS.fullmatch(url.get_secret_value()):
        raise ValueError(
            "must be mongodb://user:password@host:port, or mongodb+srv; "
            "in user and password, percent-encode what is not a letter or a digit"
        )
    return url


def _database(name: str) -> str:
    # mongodb.com/docs/manual/reference/limits, "Naming Restrictions"
    if not re.fullmatch(r'[^/\\. "$*<>:|?\0]{1,63}', name):
        raise ValueError(r'a database\'s name has 1 to 63 characters, and none of /\. "$*<>:|?')
    return name


class MongoSettings(BaseModel):
    """What `Settings` has for MongoDB."""

    mongodb_url: Annotated[SecretStr, AfterValidator(_url)] = Field(
        SecretStr("mongodb://127.0.0.1:27017"),
        description="The server of STORE=mongodb: user, password, hosts, and options such as "
        "`?replicaSet=rs0&tls=true&authSource=admin`; or mongodb+srv.",
        repr=False,
    )
    mongodb_database: Annotated[str, AfterValidator(_database)] = Field(
        "logwax", description="Database of STORE=mongodb; it is made where it is missing."
    )

    @property
    def mongodb_address(self) -> str:
        """The hosts of `MONGODB_URL`."""
        found = _ADDRESS.fullmatch(self.mongodb_url.get_secret_value())
        return found.group(1) if found else ""


MONGODB = StoreKind(
    "mongodb",
    "the MongoDB server at MONGODB_URL.",
    "connectors.sinks.mongodb.store",
    MongoSettings,
    is_shared=True,
    address=lambda settings: settings.mongodb_address,
)
