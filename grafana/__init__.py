"""Grafana: dashboards as code, their JSON, and what Grafana needs to start with them."""
