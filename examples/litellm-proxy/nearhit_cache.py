"""Installs Nearhit as the cache of LiteLLM's proxy, which imports this file because its configuration names it.

Settings come from the environment: NEARHIT_THRESHOLD and NEARHIT_URL at least.
"""

from litellm.integrations.custom_logger import CustomLogger

from nearhit.litellm import install

install()

callback = CustomLogger()
