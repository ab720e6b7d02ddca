"""GiGPO: the policy gradient on returns relative to the group's, by episode and by repeated page."""
