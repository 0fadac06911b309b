"""The labeling service's calls as REST: routes from the contract, JSON in and out, errors as problem+json."""
